"""The public test kit: cases beside policies, and traffic as a company makes it."""
