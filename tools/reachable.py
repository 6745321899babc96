"""Print the options that have pip look into these indexes as well, as far as they can be reached.

python tools/reachable.py URL ...

One that cannot be reached costs pip a wait for each package.
"""

import sys
from urllib.error import HTTPError
from urllib.request import urlopen

for index in sys.argv[1:]:
    try:
        urlopen(index, timeout=10).close()  # noqa: S310  (who runs it has written the address)
    except HTTPError:
        pass  # an index need not have a page of its own
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{index}: {error}; packages come from PyPI\n")
        continue
    sys.stdout.write(f"--extra-index-url {index}\n")
