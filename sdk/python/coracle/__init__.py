"""What guests of Coracle in Python find: HTTP both ways, configuration that may change, and the cluster's API."""
