"""The worklist: Unified Procedure Steps (PS3.3 C.30, PS3.4 Annex CC), their states, and who is told of them."""
