"""Durotaxis: a colony of nodes that has to find its way up a gradient of stiffness."""
