"""`python -m service.cli`: the same as `mealtrail`."""

from service.cli import main

main()
