"""What every section of the cluster file is."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A map of known keys, whose values have exactly the kinds that are named."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, defer_build=True)
