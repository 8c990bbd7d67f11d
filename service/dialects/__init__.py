"""The formats that partners speak, one file a format. `port` says what a dialect is, `registry` lists them."""
