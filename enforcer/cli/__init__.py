"""The command line: one file per group of verbs. ``verbs.py`` lists them, ``main.py`` runs one."""
