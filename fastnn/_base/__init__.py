"""What every module of fastnn may use: field checks, frozen dataclasses, errors, types.

Nothing here imports another folder of fastnn, or knows networks or data.
"""
