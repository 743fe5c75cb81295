"""The functions, one module for each kind. Importing a module registers its functions."""
