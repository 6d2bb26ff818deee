/* Who is alive. A thread of each process says so every now and then on a socket of its own and listens: a stopped, hung-up or killed process says
 * nothing, one that computes for an hour does. Rank 0 hears all others, they hear rank 0, which tells them whom it lost. Rank 0 judges a
 * little sooner than the others judge it, so that a rank that is stopped is not mistaken for rank 0. */
#include "base/fault.h"
#include "comm/carrier.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

static const uint32_t MAGIC = 0x4e525653;
static const double LEADER_SHARE = 0.8, OTHERS_SHARE = 0.95; /* of the timeout */

static uint32_t check_of(const sv_note *note)
{
    sv_note copy = *note;
    copy.check = 0;
    return (uint32_t)crc32_z(0, (const void *)&copy, sizeof copy);
}

/* A note that does not fit the socket's buffer is dropped: who does not read for so long is lost anyway. */
static void tell(sv_link *link, sv_note_kind kind, size_t rank, sv_status code, const char *text)
{
    sv_note note = { .magic = MAGIC, .kind = (uint32_t)kind, .rank = (uint32_t)rank, .code = (uint32_t)code };
    if (link->alive < 0 || link->left) return;
    snprintf(note.text, sizeof note.text, "%s", text);
    note.check = check_of(&note);
    ssize_t sent = send(link->alive, &note, sizeof note, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0 && sent < (ssize_t)sizeof note) shutdown(link->alive, SHUT_RDWR); /* cut in the middle: nothing more can be said here */
}

static void tell_all(sv_comm *comm, sv_note_kind kind, size_t rank, sv_status code, const char *text)
{
    for (size_t i = 0; i < comm->link_count; i++)
        if (comm->links[i].rank != rank) tell(&comm->links[i], kind, rank, code, text);
}

static void lose_locked(sv_comm *comm, size_t rank, sv_status code, const char *text)
{
    if (atomic_load(&comm->lost)) return;
    sv_fail(&comm->why, code, "%s", text);
    if (comm->rank == 0) tell_all(comm, SV_NOTE_LOST, rank, code, text);
    atomic_store(&comm->lost, true);
}

void sv_watch_lose(sv_comm *comm, size_t rank, sv_status code, const char *text)
{
    pthread_mutex_lock(&comm->lock);
    lose_locked(comm, rank, code, text);
    pthread_mutex_unlock(&comm->lock);
}

static void lose(sv_comm *comm, const sv_link *link, const char *how)
{
    char text[SV_NOTE_TEXT], process[48] = "";
    if (link->process > 0) snprintf(process, sizeof process, " (process %ld)", link->process);
    snprintf(
        text, sizeof text,
        "rank %zu%s of %zu is lost: it %s; all ranks stop. The same command goes on from the last checkpoint, with any number of ranks",
        link->rank, process, comm->ranks, how);
    lose_locked(comm, link->rank, SV_INTERRUPTED, text);
}

/* ---- listening ---------------------------------------------------------------------------------------------------- */

/* Not logged here: the one who logs may be closing its log at this moment. */
static void keep_said(sv_comm *comm, size_t rank, const char *text)
{
    if (comm->said_count == SV_SAID_MOST) {
        comm->said_lost++;
        return;
    }
    sv_said *said = &comm->said[comm->said_count++];
    said->rank = rank;
    snprintf(said->text, sizeof said->text, "%s", text);
}

static void hear_note(sv_comm *comm, sv_link *link)
{
    sv_note *note = &link->note;
    note->text[sizeof note->text - 1] = 0;
    if (note->magic != MAGIC || note->check != check_of(note)) {
        lose(comm, link, sv_wire_says(SV_WIRE_FOREIGN));
        return;
    }
    link->heard = sv_now_seconds();
    if (note->kind == SV_NOTE_BYE) link->left = true;
    if (note->kind == SV_NOTE_SAY) keep_said(comm, link->rank, note->text);
    if (note->kind != SV_NOTE_LOST && note->kind != SV_NOTE_GAVE_UP) return;
    sv_status code = note->code > 0 && note->code < 256 ? (sv_status)note->code : SV_FAULT;
    lose_locked(comm, link->rank, code, note->text);
}

/* False at the end of the stream. */
static bool hear(sv_comm *comm, sv_link *link)
{
    for (;;) {
        ssize_t got = recv(link->alive, (char *)&link->note + link->note_bytes, sizeof link->note - link->note_bytes, MSG_DONTWAIT);
        if (got == 0) return false;
        if (got < 0) return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        link->note_bytes += (size_t)got;
        if (link->note_bytes < sizeof link->note) continue;
        link->note_bytes = 0;
        hear_note(comm, link);
    }
}

static void judge(sv_comm *comm, sv_link *link, bool ended, double now)
{
    char how[64];
    const double limit = comm->timeout * (comm->rank == 0 ? LEADER_SHARE : OTHERS_SHARE);
    if (link->left || atomic_load(&comm->lost)) return;
    if (ended) lose(comm, link, "ended without a word (was it killed?)");
    snprintf(how, sizeof how, "has said nothing for %.1f s", now - link->heard);
    if (!ended && now - link->heard > limit) lose(comm, link, how);
}

static bool look(sv_comm *comm, struct pollfd *polled, int wait_ms)
{
    for (size_t i = 0; i < comm->link_count; i++) polled[i] = (struct pollfd){ comm->links[i].alive, POLLIN, 0 };
    polled[comm->link_count] = (struct pollfd){ comm->wake[0], POLLIN, 0 };
    poll(polled, comm->link_count + 1, wait_ms);
    return polled[comm->link_count].revents == 0;
}

static void *watch(void *context)
{
    sv_comm *comm = context;
    struct pollfd polled[SV_RANKS_MOST + 1];
    const double every = comm->timeout / 8 < 1 ? comm->timeout / 8 : 1;
    double said = 0, woken = sv_now_seconds();
    while (look(comm, polled, (int)(1000 * every))) {
        double now = sv_now_seconds();
        pthread_mutex_lock(&comm->lock);
        /* This process itself was stopped for a while: what it did not hear meanwhile proves nothing. */
        if (now - woken > comm->timeout / 2)
            for (size_t i = 0; i < comm->link_count; i++) comm->links[i].heard = now;
        woken = now;
        if (now - said >= every) {
            for (size_t i = 0; i < comm->link_count; i++) tell(&comm->links[i], SV_NOTE_ALIVE, comm->rank, SV_OK, "");
            said = now;
        }
        for (size_t i = 0; i < comm->link_count; i++) {
            sv_link *link = &comm->links[i];
            bool ended = link->alive >= 0 && polled[i].revents && !hear(comm, link);
            judge(comm, link, ended, now);
            if (!ended) continue;
            close(link->alive); /* else poll would find its end again and again */
            link->alive = -1;
        }
        pthread_mutex_unlock(&comm->lock);
    }
    return NULL;
}

/* ---- for the rest of comm ----------------------------------------------------------------------------------------- */

sv_status sv_watch_start(sv_comm *comm, sv_error *err)
{
    sigset_t all, before;
    if (pipe(comm->wake)) return sv_fail(err, SV_FAULT, "the watch over ranks cannot be started: %s", strerror(errno));
    for (size_t i = 0; i < comm->link_count; i++) comm->links[i].heard = sv_now_seconds();
    sigfillset(&all); /* signals are for the main thread */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int code = sv_fault_here(SV_FAULT_THREAD) ? EAGAIN : pthread_create(&comm->watch, NULL, watch, comm);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (code) return sv_fail(err, SV_FAULT, "the watch over ranks cannot be started: %s", strerror(code));
    comm->watching = true;
    return SV_OK;
}

void sv_watch_end(sv_comm *comm)
{
    if (comm->watching) {
        if (write(comm->wake[1], "", 1) == 1) pthread_join(comm->watch, NULL);
        if (!atomic_load(&comm->lost)) tell_all(comm, SV_NOTE_BYE, comm->rank, SV_OK, "");
    }
    comm->watching = false;
    for (int i = 0; i < 2; i++)
        if (comm->wake[i] >= 0) close(comm->wake[i]);
    comm->wake[0] = comm->wake[1] = -1;
}

sv_status sv_watch_verdict(sv_comm *comm, const sv_link *link, sv_wire_result result, sv_error *err)
{
    enum { WAIT_MS = 2000, STEP_MS = 5 };
    const bool may_follow = result == SV_WIRE_CLOSED || result == SV_WIRE_STOPPED;
    for (int waited = 0; may_follow && comm->watching && waited < WAIT_MS && !atomic_load(&comm->lost); waited += STEP_MS)
        poll(NULL, 0, STEP_MS);
    pthread_mutex_lock(&comm->lock);
    if (!atomic_load(&comm->lost)) {
        lose(comm, link, sv_wire_says(result));
        if (comm->rank) tell_all(comm, SV_NOTE_GAVE_UP, comm->rank, comm->why.code, comm->why.text); /* rank 0 may hear both ends of a cut road */
    }
    sv_status status = sv_fail(err, comm->why.code, "%s", comm->why.text);
    pthread_mutex_unlock(&comm->lock);
    return status;
}

void sv_comm_say(sv_comm *comm, const char *text)
{
    if (!comm || !comm->rank) return;
    pthread_mutex_lock(&comm->lock);
    tell(&comm->links[0], SV_NOTE_SAY, comm->rank, SV_OK, text);
    pthread_mutex_unlock(&comm->lock);
}

bool sv_comm_heard(sv_comm *comm, size_t *rank, char text[SV_SAID_TEXT])
{
    bool any = false;
    if (!comm) return false;
    pthread_mutex_lock(&comm->lock);
    if (comm->said_count) {
        *rank = comm->said[0].rank;
        memcpy(text, comm->said[0].text, SV_SAID_TEXT);
        memmove(comm->said, comm->said + 1, --comm->said_count * sizeof *comm->said);
        any = true;
    } else if (comm->said_lost) {
        *rank = 0;
        snprintf(text, SV_SAID_TEXT, "%zu more lines of other ranks came too fast and are not shown", comm->said_lost);
        comm->said_lost = 0;
        any = true;
    }
    pthread_mutex_unlock(&comm->lock);
    return any;
}

void sv_comm_give_up(sv_comm *comm, const sv_error *why)
{
    enum { WAIT_MS = 500, STEP_MS = 5 };
    char text[SV_NOTE_TEXT];
    if (!comm) return;
    /* What all ranks found alike rank 0 says for all. */
    for (int waited = 0; comm->rank && comm->watching && waited < WAIT_MS && !atomic_load(&comm->lost); waited += STEP_MS)
        poll(NULL, 0, STEP_MS);
    snprintf(text, sizeof text, "rank %zu: %s", comm->rank, why->text);
    pthread_mutex_lock(&comm->lock);
    if (!atomic_load(&comm->lost)) {
        if (comm->rank != 0) tell_all(comm, SV_NOTE_GAVE_UP, comm->rank, why->code, text);
        lose_locked(comm, 0, why->code, comm->rank ? text : why->text);
    }
    pthread_mutex_unlock(&comm->lock);
}
