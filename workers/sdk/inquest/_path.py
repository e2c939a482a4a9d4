"""Makes the application's own rooms importable where this package was installed from its wheel.

In the wheel they lie in `inquest/_application`, so that nothing but `inquest` is put into an environment. They come
last on the path: nothing of anybody else's is hidden by them.
"""

import sys
from pathlib import Path

ROOMS = Path(__file__).parent / "_application"

if ROOMS.is_dir() and str(ROOMS) not in sys.path:
    sys.path.append(str(ROOMS))
