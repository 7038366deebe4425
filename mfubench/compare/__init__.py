"""Training scripts that take turns: which trains faster here, and do they learn the same?"""
