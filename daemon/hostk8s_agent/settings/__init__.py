"""What a person may set: one model of several groups, the two files that hold it, and where each value comes from."""

from hostk8s_agent.settings.loading import find_origins, find_unknown_variables, load_settings
from hostk8s_agent.settings.model import ENVIRONMENT_PREFIX, Settings

__all__ = ["ENVIRONMENT_PREFIX", "Settings", "find_origins", "find_unknown_variables", "load_settings"]
