"""Expression-Identity Fusion Network for facial expression recognition (Zhang, Su and Wang, ICIP 2019)."""
