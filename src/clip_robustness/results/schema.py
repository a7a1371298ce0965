"""The JSON schema of results.json: `python -m clip_robustness.results.schema` prints it."""

from __future__ import annotations

import json
from typing import Any

from pydantic import TypeAdapter

from clip_robustness.results.results import SCHEMA, Results


def json_schema() -> dict[str, Any]:
    """Draft 2020-12, from the dataclasses that read and write the file."""
    found = TypeAdapter(Results).json_schema(mode="serialization")
    version = {"const": SCHEMA, "description": "Of this format; another number is another format."}
    found["properties"] = {"schema": version} | found["properties"]
    found["required"] = ["schema", *found["required"]]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema"} | found


if __name__ == "__main__":
    print(json.dumps(json_schema(), indent=1))
