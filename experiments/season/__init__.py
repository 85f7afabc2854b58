"""A season whose calls are known: are activity, effort and every recording given back?"""
