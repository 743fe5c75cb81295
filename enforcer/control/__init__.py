"""The control plane. It meets the data plane at topics only: here, whoever may administer policies."""
