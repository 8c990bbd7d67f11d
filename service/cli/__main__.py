"""`python -m service.cli`: the same as `mealtrail`."""

from service.cli.entry import main

main()
