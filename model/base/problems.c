#include "model/base/problems.h"

enum err_code problems_take(struct problems *p, enum err_code code, struct err *err)
{
    if (!p || code == ERR_OK || code == ERR_NOMEM || code == ERR_BUG ||
        code == ERR_STOPPED)
        return code;
    if (p->n++ == 0)
        p->first = *err;
    p->found(p->arg, code, err->msg);
    *err = (struct err){0};
    return ERR_OK;
}
