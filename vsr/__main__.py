"""python -m vsr"""

from vsr.cli.main import main

main()
