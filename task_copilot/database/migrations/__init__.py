"""The steps that bring the tables from each released version to the newest."""
