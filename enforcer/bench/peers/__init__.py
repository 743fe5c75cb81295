"""
The same job on other stream frameworks, each in an environment of its own.

Theory of operation
-------------------
What is compared is what surrounds the decision: fetching, rows, changelogs, commits, sending. So the decision itself is
ours everywhere: ``job`` gives each framework the policy engine as a library, and the framework gives it the rows of its
own state store. A peer reads the very topic that our worker reads, tells its decisions on a topic, and writes them to
another as its audit; what a framework has no notion of (the hash chain, sweeping old rows, looking ahead) it need not do.

``quix_agent`` and ``faust_agent`` run with a Python that has their framework and what the engine imports, and nothing
else of ours: ``environment`` makes it, from hashed locks in this folder. They talk to the benchmark as every measured
process does (``sampling``), and import the pure packages only.
"""
