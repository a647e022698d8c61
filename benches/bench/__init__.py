"""The parts of `make bench`: brokers, rows, rounds, fairness, and the page and picture made from them."""
