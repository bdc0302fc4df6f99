"""The Dash app: one page, one address, two callbacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dash import ALL, ClientsideFunction, Dash, Input, Output, State, ctx, dcc, html
from flask import Response, request

from segfocal.report.dashboard.access import Gate, content_policy
from segfocal.report.dashboard.answers import address, csv_of, update
from segfocal.report.dashboard.pictures import picture
from segfocal.report.dashboard.watch import Watcher

POLL_MS = 1000  # a new epoch is on the page one poll and one computation later
_STYLE = Path(__file__).parents[1] / "page" / "report.css"

_INDEX = """<!DOCTYPE html>
<html lang="en">
<head>{%metas%}<title>{%title%}</title>{%favicon%}{%css%}</head>
<body>{%app_entry%}<footer>{%config%}{%scripts%}{%renderer%}</footer></body>
</html>"""


def create_app(
    watcher: Watcher, *, host: str, port: int, token: str | None, allow: Sequence[str] = ()
) -> Dash:
    """Return the app with its routes, its callbacks and its gate.

    Args:
        watcher: Of LOGDIR.
        host: What the server will be bound to.
        port: Its port.
        token: What a reader must know, None for everybody on this machine.
        allow: Further names under which a browser may ask.

    Returns:
        The app; ``app.server`` answers requests.
    """
    app = Dash(
        "segfocal.report.dashboard",
        title="segfocal dashboard",
        update_title="",
        serve_locally=True,
        assets_folder=str(Path(__file__).parent / "assets"),
        external_stylesheets=["report.css"],
        enable_mcp=False,
        add_log_handler=False,
        index_string=_INDEX,
    )
    app.server.config["MAX_CONTENT_LENGTH"] = 1_000_000  # a browser sends the state of a few controls
    app.layout = _skeleton()
    _add_routes(app, watcher)
    _add_callbacks(app, watcher)
    policy = content_policy(app.csp_hashes())
    Gate(host=host, port=port, token=token, policy=policy, allow=allow).guard(app.server)
    return app


def _skeleton() -> Any:
    return html.Div(
        [
            dcc.Location(id="address", refresh=False),
            dcc.Interval(id="clock", interval=POLL_MS),
            dcc.Store(id="look"),
            dcc.Store(id="shown"),
            html.Header([html.H1("segfocal dashboard"), html.Nav(id="views", **{"aria-label": "Views"})]),
            html.Main([html.Div(id="controls", className="controls"), html.Div(id="content")]),
        ]
    )


def _add_routes(app: Dash, watcher: Watcher) -> None:
    server = app.server
    server.add_url_rule("/report.css", "style", lambda: Response(_STYLE.read_bytes(), mimetype="text/css"))
    server.add_url_rule(
        "/picture", "picture", lambda: picture(request.args, root=watcher.root, runs=watcher.found().runs)
    )
    server.add_url_rule(
        "/csv",
        "csv",
        lambda: csv_of(request.query_string.decode(), request.args.get("key", ""), watcher=watcher),
    )


def _add_callbacks(app: Dash, watcher: Watcher) -> None:
    app.clientside_callback(
        ClientsideFunction("segfocal", "look"),
        Output("look", "data"),
        Input("clock", "n_intervals"),
        State("look", "data"),
    )

    @app.callback(
        Output("views", "children"),
        Output("controls", "children"),
        Output("content", "children"),
        Output("shown", "data"),
        Input("address", "search"),
        Input("clock", "n_intervals"),
        Input("look", "data"),
        State("shown", "data"),
    )
    def show(search: str | None, _: int | None, look: str | None, shown: Any) -> tuple[Any, ...]:
        return update(watcher, search, look=look, shown=shown)

    @app.callback(
        Output("address", "search"),
        Input({"control": ALL}, "value"),
        State({"control": ALL}, "id"),
        State("address", "search"),
        prevent_initial_call=True,
    )
    def choose(values: Sequence[Any], ids: Sequence[dict[str, str]], search: str | None) -> Any:
        changed = {one["control"]: value for one, value in zip(ids, values, strict=True)}
        triggered = {one["control"] for one in ctx.triggered_prop_ids.values()}
        return address({key: value for key, value in changed.items() if key in triggered}, search)
