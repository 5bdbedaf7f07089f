/* seqd-pull: what `seqd pull` runs. */
#include "server/hub/pull.h"

extern char **environ;

int main(int argc, char **argv)
{
    return pull_main(argc, argv, environ);
}
