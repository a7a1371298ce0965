"""Speed, measured: `make bench`. Not part of `make test`."""
