# SPDX-License-Identifier: MIT
"""mlog-plot: heap over time, drawn from the JSON of mlog-analyze.

`command` is the command line, `report` obtains and checks the analyser's JSON,
`model` turns it into the series to draw, `scales` chooses units and ticks,
`labels` makes names fit, `environment` makes matplotlib at home, `chart` draws.
Only `chart` knows matplotlib; nothing here reads a trace.
"""
