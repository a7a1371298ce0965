"""Print the seconds of each corruption of imagecorruptions, for the 224 px image in a .npy file; see period.py."""

import json
import sys
import time

import cv2
import numpy as np
from period import imagecorruptions

cv2.setNumThreads(1)
image = np.load(sys.argv[1])
seconds = {}
for name in imagecorruptions.get_corruption_names("all"):
    seconds[name] = np.inf
    for _ in range(2 if name == "glass_blur" else 10):
        began = time.perf_counter()
        imagecorruptions.corrupt(image, 5, name)
        seconds[name] = min(seconds[name], time.perf_counter() - began)
print(json.dumps(seconds))
