"""The data plane: topology, agent, commit, takeover, restore, policy table. Kafka stands behind broker's port."""
