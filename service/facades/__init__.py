"""The APIs of existing systems, answered as their clients expect: one module an API, each reads like its document."""
