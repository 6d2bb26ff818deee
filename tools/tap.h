/* A TAP device in a network namespace: an Ethernet card whose frames a program reads and writes. */
#ifndef SIEVE_TOOLS_TAP_H
#define SIEVE_TOOLS_TAP_H

#include "base/base.h"

#include <linux/virtio_net.h>

enum {
    SV_TAP_HEAD =
        sizeof(struct virtio_net_hdr), /* before each frame: how it is to be cut to packets, which check sum is still to be made */
    SV_TAP_MOST = SV_TAP_HEAD + 14 + 4 + 65535,
    SV_TAP_ADDRESS = 6
};

typedef struct sv_tap {
    int descriptor; /* does not wait; closing it takes the device away */
    unsigned char address[SV_TAP_ADDRESS];
} sv_tap;

/* Makes `device` in the namespace, down and without addresses. Frames of TCP come up to 64 KiB, before they are cut to packets and without check sums,
 * as a card with offload gets them. SV_USAGE: no such namespace; SV_FAULT: no /dev/net/tun, not root, a device of that name. */
sv_status sv_tap_open(sv_tap *tap, const char *name_space, const char *device, sv_error *err) SV_MUST_CHECK;
void sv_tap_close(sv_tap *tap); /* accepts a descriptor of -1 */

/* Bytes of `frame` as packets on a wire: the heads of each count. */
size_t sv_tap_on_wire(const unsigned char *frame, size_t bytes);

#endif
