"""Volumes of the whole fleet: which node, one copy only, and what to do when a node is silent.

Used by the CSI controller and by the operator. State is the catalogue's and the nodes'; nothing
is kept here, so a killed controller loses nothing.
"""
