"""Views of any twin for other libraries: Gymnasium, PettingZoo, stable-baselines3."""
