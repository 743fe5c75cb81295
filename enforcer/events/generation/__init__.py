"""Text of the generated modules, from the schemas. Nothing here runs per event or ships a decision."""
