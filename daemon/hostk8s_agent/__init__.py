"""hostk8s-agent: save a storage contract, and the Docker volume and the cluster follow."""

__version__ = "0.1.0"
