"""What the service takes and refuses beyond its description, which has plain types for code generators."""

import schemathesis


@schemathesis.hook
def before_load_schema(context, raw_schema):
    for path, item in raw_schema["paths"].items():
        for operation in item.values():
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                # The body of a PATCH is the data itself.
                if kind == "application/json":
                    complete(path, content["schema"])
                    if not content["schema"].get("required"):
                        content["schema"] = {"anyOf": [content["schema"], {"type": "null"}]}


def complete(path, schema):
    # A name that is unknown may be a slip.
    schema["additionalProperties"] = False
    required = schema.get("required", [])
    for name, value in schema["properties"].items():
        kinds = [value]
        if name == "user_id":
            kinds.append({"type": "integer"})
        if name in ("others", "confirm"):
            kinds.append({"enum": ["true", "yes"]})
        # As good as nothing, where nothing is good enough.
        if name not in required and name not in ("data", "handle", "others"):
            kinds.append({"type": "null"})
        if len(kinds) > 1:
            schema["properties"][name] = {"anyOf": kinds}
    if path == "/mine/end":
        schema["oneOf"] = [{"required": ["handle"]}, {"required": ["others"]}]
