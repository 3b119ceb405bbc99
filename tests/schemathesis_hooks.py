"""What the service takes and refuses beyond its description, which has plain types for code generators."""

import schemathesis


ADDRESS = {"anyOf": [{"type": "string", "format": "ipv4"}, {"type": "string", "format": "ipv6"}]}

# Which sessions are meant.
FILTER = (
    "user_id",
    "label",
    "client_ip",
    "created_before",
    "created_after",
    "active_before",
    "active_after",
    "expires_before",
)


@schemathesis.hook
def before_load_schema(context, raw_schema):
    for path, item in raw_schema["paths"].items():
        for operation in item.values():
            for parameter in operation.get("parameters", []):
                if parameter["name"] == "client_ip":
                    parameter["schema"] = ADDRESS
            for kind, content in operation.get("requestBody", {}).get("content", {}).items():
                # The body of a PATCH is the data itself.
                if kind == "application/json":
                    complete(path, content["schema"])
                    if not content["schema"].get("required") and path != "/end-sessions":
                        content["schema"] = {"anyOf": [content["schema"], {"type": "null"}]}


def complete(path, schema):
    # A name that is unknown may be a slip.
    schema["additionalProperties"] = False
    required = schema.get("required", [])
    if "client_ip" in schema["properties"]:
        schema["properties"]["client_ip"] = ADDRESS
    if path == "/end-sessions":
        ends_by_handles_or_by_filter(schema)
        return
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


def ends_by_handles_or_by_filter(schema):
    """Handles alone, or a filter: with dry_run, or with cutoff and at_most."""
    known = schema["properties"]
    known["user_id"] = {"anyOf": [known["user_id"], {"type": "integer"}]}
    label = known["label"]
    labels = {"type": "array", "items": label}
    known["label"] = {"anyOf": [label, labels]}
    filters = {name: or_null(known[name]) for name in FILTER}
    # An empty list is no filter.
    known["label"] = {"anyOf": [label, {**labels, "minItems": 1}]}
    bounds = {name: or_null(known[name]) for name in ("cutoff", "at_most")}
    yes = {"enum": [True, "true", "yes"]}
    no = {"enum": [False, "false", "no", None]}
    nothing = {"type": "null"}

    def form(properties, *required):
        return {
            "type": "object",
            "properties": properties,
            "required": list(required),
            "additionalProperties": False,
        }

    others = {name: nothing for name in known}
    forms = [form({**others, "handles": known["handles"], "dry_run": no}, "handles")]
    for name in FILTER:
        given = {**filters, name: known[name], "handles": nothing}
        forms.append(form({**given, **bounds, "dry_run": yes}, name, "dry_run"))
        act = {**given, "cutoff": known["cutoff"], "at_most": known["at_most"], "dry_run": no}
        forms.append(form(act, name, "cutoff", "at_most"))
    schema.clear()
    schema["anyOf"] = forms


def or_null(schema):
    return {"anyOf": [schema, {"type": "null"}]}
