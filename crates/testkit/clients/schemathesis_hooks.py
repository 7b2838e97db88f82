"""What is left out of what the OpenAPI document allows to ask."""

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    """With `columns`, most of what the schema says has to be there is not, as asked for."""
    if case.query:
        case.query.pop("columns", None)


@schemathesis.hook
def filter_case(context, case):
    """The account that the tests use has to stay, and what it may do."""
    return case.method == "GET" or "guest" not in str(case.path_parameters) + str(case.body)
