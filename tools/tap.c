/* The kernel's tun driver (linux/if_tun.h), with the heads of linux/virtio_net.h. */
#include "tools/tap.h"
#include "tools/namespace.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

static sv_status set_up(sv_tap *tap, const char *name_space, const char *device, sv_error *err)
{
    struct ifreq wish = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
    snprintf(wish.ifr_name, sizeof wish.ifr_name, "%s", device);
    tap->descriptor = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (tap->descriptor < 0) return sv_fail(err, SV_FAULT, "/dev/net/tun: %s; the kernel's tun driver is needed", strerror(errno));
    if (ioctl(tap->descriptor, TUNSETIFF, &wish))
        return sv_fail(err, SV_FAULT, "namespace '%s': no TAP device '%s': %s; root is needed, and no other device of that name",
                       name_space, device, strerror(errno));
    if (ioctl(tap->descriptor, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) || ioctl(tap->descriptor, SIOCGIFHWADDR, &wish))
        return sv_fail(err, SV_FAULT, "namespace '%s': the TAP device '%s' cannot be set up: %s", name_space, device, strerror(errno));
    memcpy(tap->address, wish.ifr_hwaddr.sa_data, SV_TAP_ADDRESS);
    return SV_OK;
}

sv_status sv_tap_open(sv_tap *tap, const char *name_space, const char *device, sv_error *err)
{
    int here = -1;
    *tap = (sv_tap){ .descriptor = -1 };
    sv_status status = sv_namespace_here(&here, err);
    if (status) return status;
    status = sv_namespace_enter(name_space, err);
    if (!status) status = set_up(tap, name_space, device, err);
    sv_error aside;
    sv_status back = sv_namespace_back(here, status ? &aside : err);
    if (!status) status = back;
    if (status) sv_tap_close(tap);
    return status;
}

void sv_tap_close(sv_tap *tap)
{
    if (tap->descriptor >= 0) close(tap->descriptor);
    tap->descriptor = -1;
}

size_t sv_tap_on_wire(const unsigned char *frame, size_t bytes)
{
    struct virtio_net_hdr head;
    memcpy(&head, frame, sizeof head);
    const size_t whole = bytes - SV_TAP_HEAD, heads = head.hdr_len;
    if (head.gso_type == VIRTIO_NET_HDR_GSO_NONE || !head.gso_size || heads >= whole) return whole;
    const size_t packets = (whole - heads + head.gso_size - 1) / head.gso_size;
    return whole + (packets - 1) * heads;
}
