"""Pictures as timm's evaluation transform has them, made by Pillow: what the checks give to both sides."""
import numpy as np
from PIL import Image


def pixels(path, size):
    """The evaluation transform of timm: shorter side to size / 0.875, bicubic, centre."""
    picture = Image.open(path).convert("RGB")
    side = int(size / 0.875)
    width, height = picture.size
    narrow, wide = min(width, height), max(width, height)
    other = wide if narrow == side else int(side * wide / narrow)
    picture = picture.resize((side, other) if width < height else (other, side), Image.BICUBIC)
    left, top = round((picture.width - size) / 2), round((picture.height - size) / 2)
    numbers = np.asarray(picture.crop((left, top, left + size, top + size)), np.float32) / np.float32(255)
    numbers = (numbers - np.float32([0.485, 0.456, 0.406])) / np.float32([0.229, 0.224, 0.225])
    return np.ascontiguousarray(numbers.transpose(2, 0, 1))
