"""Estimators for tables: columns of any kind, a recipe, several networks, one answer.

What is here takes DataFrames; estimators of plain matrices are in the folder above.
"""
