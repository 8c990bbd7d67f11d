"""The HTTP face and the command line: what people and partners see of mealtrail."""
