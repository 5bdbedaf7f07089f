"""Monophonic folk tunes as lines of note words, read from MIDI files.

A note word is a pitch and a length, `D5:2`: the pitch name with its octave
(middle C is C4, black keys are written as sharps) and the length in
sixteenths, so 2 is an eighth and 4 a quarter; a triplet eighth is `4/3`. A rest
is `R:4`. Words are separated by blanks and `|` starts a new bar. One tune is one
line. The bar lines are the ones of the printed score: the files accent the
first note of each bar with velocity 105.
"""

import hashlib
import re
import struct
from fractions import Fraction
from pathlib import Path

SEED = 20261123
NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
BAR_ACCENT = 105
TICKS_PER_SIXTEENTH = 120    # every file has 480 ticks to a quarter
SHIFTS = (-7, -5, -2, 2, 5, 7)
NOTE = re.compile(r"([A-G]#?)(\d):(.+)")


def read_number(data, at):
    """A variable-length number and the place after it."""
    value = 0
    while True:
        byte = data[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at


def read_events(data, at, end):
    """Channel events of a track as (tick, status, first byte, second byte)."""
    tick, status = 0, 0
    while at < end:
        delta, at = read_number(data, at)
        tick += delta
        if data[at] == 0xFF or data[at] in (0xF0, 0xF7):
            at += 2 if data[at] == 0xFF else 1
            length, at = read_number(data, at)
            at += length
            continue
        if data[at] & 0x80:
            status = data[at]
            at += 1
        size = 1 if status >> 4 in (0xC, 0xD) else 2
        second = data[at + 1] if size == 2 else 0
        yield tick, status, data[at], second
        at += size


def read_melody(path):
    """(start, end, pitch, velocity) of channel 0 of the first track with notes."""
    data = path.read_bytes()
    magic, size, _, _, division = struct.unpack(">4sIHHH", data[:14])
    if magic != b"MThd" or division != 4 * TICKS_PER_SIXTEENTH:
        raise ValueError(f"{path}: not a MIDI file of 480 ticks to a quarter")
    at = 8 + size
    while at < len(data):
        length = struct.unpack(">I", data[at + 4:at + 8])[0]
        end = at + 8 + length
        notes, open_notes = [], {}
        for tick, status, pitch, velocity in read_events(data, at + 8, end):
            if status == 0x90 and velocity > 0:
                open_notes[pitch] = (tick, velocity)
            elif status in (0x80, 0x90) and pitch in open_notes:
                start, accent = open_notes.pop(pitch)
                notes.append((start, tick, pitch, accent))
        if notes:
            return sorted(notes)
        at = end
    return []


def length_word(ticks):
    """Sixteenths as a whole number or a fraction, on a grid of 1/6 sixteenth."""
    steps = max(1, round(ticks * 6 / TICKS_PER_SIXTEENTH))
    return str(Fraction(steps, 6))


def write_note(pitch, length):
    return f"{NAMES[pitch % 12]}{pitch // 12 - 1}:{length}"


def tune_words(notes):
    """Note words and bar lines of a melody.

    A file ends each note one tick early; ornaments and slurs may end it much
    earlier or later than the next one starts, so a note lasts until the next
    unless at least a sixteenth of silence lies between the two.
    """
    words = []
    for i, (start, end, pitch, velocity) in enumerate(notes):
        if velocity == BAR_ACCENT and words:
            words.append("|")
        following = notes[i + 1][0] if i + 1 < len(notes) else end + 1
        if following <= start:
            continue
        rest = following - end - 1
        if rest < TICKS_PER_SIXTEENTH:
            rest = 0
        words.append(write_note(pitch, length_word(following - start - rest)))
        if rest:
            words.append(f"R:{length_word(rest)}")
    return words


def transpose(line, shift):
    """A tune moved by a number of semitones."""
    def move(match):
        pitch = 12 * (int(match[2]) + 1) + NAMES.index(match[1]) + shift
        return write_note(pitch, match[3])
    return " ".join(NOTE.sub(move, word) for word in line.split())


def pitch_key(line):
    """The steps between a tune's first notes: the same in every key."""
    pitches = [12 * int(m[2]) + NAMES.index(m[1])
               for m in map(NOTE.fullmatch, line.split()) if m]
    return tuple(b - a for a, b in zip(pitches[:40], pitches[1:41]))


def load_tunes(data, report=print):
    """{"train", "dev", "test"}: lines of note words; every tenth of the tunes
    in a fixed shuffled order is a test tune, the next one a dev tune. A held-out
    tune that starts as a training tune does, in any key, is left out."""
    folder = Path(data) / "irish-tunes" / "midi"
    tunes = {path.name: " ".join(tune_words(read_melody(path)))
             for path in sorted(folder.glob("*.mid"))}
    order = sorted(tunes, key=lambda name: hashlib.sha256(
        f"{SEED}{name}".encode()).digest())
    tunes = {"test": [tunes[name] for name in order[0::10]],
             "dev": [tunes[name] for name in order[1::10]],
             "train": [tunes[name] for i, name in enumerate(order) if i % 10 > 1]}
    seen = {pitch_key(line) for line in tunes["train"]}
    for split in ("dev", "test"):
        fresh = [line for line in tunes[split] if pitch_key(line) not in seen]
        report(f"tunes {split}: {len(tunes[split]) - len(fresh)} also in training")
        tunes[split] = fresh
        seen.update(pitch_key(line) for line in fresh)
    for split, lines in tunes.items():
        report(f"tunes {split}: {len(lines)} tunes, "
               f"{sum(len(line.split()) for line in lines)} note words")
    return tunes


def augmented(lines):
    """Every tune as it is and moved by a tone, a fourth and a fifth either way:
    from the usual keys to other usual ones. Chosen by the dev figure of the n-gram
    model (nats per word: none 2.27, -3 to 3 semitones 2.35, these 2.19)."""
    moved = [transpose(line, shift) for shift in SHIFTS for line in lines]
    return lines + moved
