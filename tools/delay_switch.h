/* A switch with slow lines, as arithmetic on a clock that the caller reads: frames go in, and come out when their time has come. Each line to the
 * switch has two ways. A frame of n bytes keeps its way busy for n / rate seconds; the way to the switch is followed by `delay`, then comes the way to
 * the receiver, which may begin while the frame still comes in (as small packets of a large frame would), so that n bytes to an idle receiver take
 * delay + n / rate. It knows nothing of descriptors: tools/delay_line.c gives it devices. */
#ifndef SIEVE_TOOLS_DELAY_SWITCH_H
#define SIEVE_TOOLS_DELAY_SWITCH_H

#include "base/base.h"

enum { SV_DELAY_LINES_MOST = 64 };

typedef struct sv_delay_options {
    uint64_t delay_ns;
    double rate;          /* bits a second each way; 0: no bound */
    uint64_t patience_ns; /* a frame that would wait longer for its way is dropped */
    size_t held_most;     /* bytes in the switch; what would be more is dropped */
} sv_delay_options;

typedef struct sv_delay_frame {
    struct sv_delay_frame *next;
    uint64_t at_ns; /* when it was due, once sv_delay_due gives it back */
    size_t to;      /* line */
    size_t on_wire; /* bytes that its way is busy with */
    size_t bytes;   /* of data */
    unsigned char data[];
} sv_delay_frame;

/* Of a line: frames and bytes that came from it, that were handed to it; those lost to full ways, and to a cut. */
typedef struct sv_delay_count {
    uint64_t in_frames, in_bytes, out_frames, out_bytes, dropped, swallowed;
} sv_delay_count;

typedef struct sv_delay_switch sv_delay_switch;
sv_status sv_delay_open(sv_delay_switch **out, size_t lines, const sv_delay_options *options, sv_error *err) SV_MUST_CHECK;
void sv_delay_close(sv_delay_switch *sw); /* with the frames in it; accepts NULL */

/* A frame with room for `bytes`, to be freed by sv_free or taken over by sv_delay_take. */
sv_status sv_delay_frame_new(sv_delay_frame **out, size_t bytes, sv_error *err) SV_MUST_CHECK;
/* Takes the frame over. `now_ns` never goes back. */
void sv_delay_take(sv_delay_switch *sw, size_t from, size_t to, sv_delay_frame *frame, uint64_t now_ns);
/* The next frame that is due, for line frame->to, owned by the caller; NULL: none now. */
sv_delay_frame *sv_delay_due(sv_delay_switch *sw, uint64_t now_ns);
uint64_t sv_delay_next(const sv_delay_switch *sw); /* when to ask again; UINT64_MAX: nothing is on its way */

/* A line that is cut swallows all it is given, and what is on its way to it. */
void sv_delay_cut(sv_delay_switch *sw, size_t line, bool cut);
sv_delay_count sv_delay_counts(const sv_delay_switch *sw, size_t line);

#endif
