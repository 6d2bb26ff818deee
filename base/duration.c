/* Spans of time as people write them. */
#include "base/base.h"

#include <stdio.h>
#include <string.h>

const char *sv_duration(char room[32], double seconds)
{
    if (!(seconds >= 0) || seconds > 1e9) snprintf(room, 32, "unknown");
    else if (seconds < 59.95) snprintf(room, 32, "%.1f s", seconds);
    else if (seconds < 3599.5) snprintf(room, 32, "%d min %d s", (int)(seconds + 0.5) / 60, (int)(seconds + 0.5) % 60);
    else snprintf(room, 32, "%d h %02d min", (int)(seconds / 60 + 0.5) / 60, (int)(seconds / 60 + 0.5) % 60);
    return room;
}

bool sv_parse_duration(const char *string, double *seconds)
{
    static const struct { const char *name; double seconds; } units[] = { { "", 60 }, { "s", 1 }, { "min", 60 }, { "h", 3600 }, { "d", 86400 } };
    char number[32];
    const size_t digits = strspn(string, "0123456789.eE+"), gap = strspn(string + digits, " ");
    double value = 0;
    if (!digits || digits >= sizeof number) return false;
    memcpy(number, string, digits);
    number[digits] = 0;
    if (!sv_parse_real(number, &value) || value < 0) return false;
    for (size_t i = 0; i < SV_COUNT(units); i++)
        if (strcmp(string + digits + gap, units[i].name) == 0 && value * units[i].seconds <= 1e9) {
            *seconds = value * units[i].seconds;
            return true;
        }
    return false;
}
