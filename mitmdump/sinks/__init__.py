"""Floor 2: where flows go once a filter has said yes.

| module | holds |
|---|---|
| `base` | what a sink is |
| `tap` | between the flows and the sinks: the filter, and the counts |
| `spool` | where bytes wait while a filter is undecided |
| `gathering` | running flows, for sinks that need each in one piece |
| `filesink` | what sinks that write files have in common |
| `recorder`, `exporter` | flow files; files of other formats |
| `output` | the file behind them |
| `series`, `naming`, `commands` | rotation: one file after the other, their names, what is run when one is finished |
| `redact`, `trim` | in front of a sink: without secrets, without large bodies |
| `text`, `lines`, `stats` | stdout: for people, for programs, numbers only |
| `printer` | what these have in common |
| `render`, `pretty`, `words` | flows, bodies, and texts as people are to see them |
"""
