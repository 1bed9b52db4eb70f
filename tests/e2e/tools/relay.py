#!/usr/bin/env python3
"""A bad line between a machine of a test and the others: frames are lost, are late, and overtake each other.

relay.py checksums DEVICE          from now on the device is given whole checksums, and no frames longer than the line's
relay.py line A B PERCENT MILLIS   passes frames between two devices, loses so many and delays each by up to so long,
                                   until it is told to end; then says how many were lost and how many overtook another
"""

import array
import fcntl
import heapq
import random
import select
import signal
import socket
import struct
import sys
import time

ETH_P_ALL = 3
SIOCETHTOOL = 0x8946
ETHTOOL_STXCSUM = 0x17
# Longer than any frame.
FRAME_BYTES_MAX = 65_536


def checksums(device):
    """Tells a device to take checksums as they are: only a line of the kernel's own would do without."""
    value = array.array("B", struct.pack("II", ETHTOOL_STXCSUM, 0))
    request = struct.pack("16sP16x", device.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, SIOCETHTOOL, request)


def end(_signal, _frame):
    raise KeyboardInterrupt


def line(one, other, percent, millis):
    """Passes frames both ways."""
    ends = []
    for device in (one, other):
        opened = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        # Not a frame of another device before this.
        opened.bind((device, ETH_P_ALL))
        ends.append(opened)
    signal.signal(signal.SIGTERM, end)
    chance, waiting, number, last = random.Random(7), [], 0, 0
    lost = overtook = 0
    print("passes", flush=True)
    try:
        while True:
            wait = max(0, waiting[0][0] - time.monotonic()) if waiting else None
            for ready in select.select(ends, [], [], wait)[0]:
                frame, (_, _, kind, _, _) = ready.recvfrom(FRAME_BYTES_MAX)
                if kind == socket.PACKET_OUTGOING:
                    continue
                if chance.random() * 100 < percent:
                    lost += 1
                    continue
                number += 1
                due = time.monotonic() + chance.random() * millis / 1000
                to = ends[1] if ready is ends[0] else ends[0]
                heapq.heappush(waiting, (due, number, to, frame))
            while waiting and waiting[0][0] <= time.monotonic():
                _, which, to, frame = heapq.heappop(waiting)
                overtook += which < last
                last = max(last, which)
                try:
                    to.send(frame)
                except OSError:
                    # The device is gone, or its queue is full: one more that is lost.
                    lost += 1
    except KeyboardInterrupt:
        print(lost, overtook, flush=True)


if sys.argv[1] == "checksums":
    checksums(sys.argv[2])
else:
    line(sys.argv[2], sys.argv[3], float(sys.argv[4]), float(sys.argv[5]))
