/* The card of a run's files. It says nothing of the clock: a run made again, or killed and resumed, ends with the same bytes; the time of a picture
 * is measured and told by export. */
#include "eval/card.h"
#include "train/session.h"

#include <stdio.h>

sv_status sv_session_card(const sv_session *s, const sv_evaluation *e, sv_text *text, sv_error *err)
{
    char accuracy[256] = "";
    if (e->images)
        snprintf(accuracy, sizeof accuracy, "top-1 %.2f %% (%zu of %zu pictures), top-5 %.2f %%, after %llu epochs", 100 * (double)e->top1 / (double)e->images, e->top1,
                 e->images, 100 * (double)e->top5 / (double)e->images, (unsigned long long)(s->state.best_epoch > s->state.epoch ? s->state.best_epoch : s->state.epoch));
    sv_card_print(&(sv_card){ .model = s->model, .plan = sv_pruning_plan_of(s->pruning), .config = s->recipe_text, .weights = "float32", .accuracy = accuracy }, text);
    return sv_text_check(text, err);
}
