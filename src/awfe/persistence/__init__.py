"""How workflows are kept in a SQL database: the only place that knows tables, drivers and locks."""
