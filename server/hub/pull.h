/* Pull: the command `seqd pull`: what seqd needs of a repository, into the hub's cache.
 */
#ifndef SERVER_HUB_PULL_H
#define SERVER_HUB_PULL_H

/* env is an environ-like list. The folder goes to standard output, all else to standard
 * error. Returns the exit status: 0 the model is there, 1 it is not, 2 wrong usage. */
int pull_main(int argc, char *const *argv, char *const *env);

#endif
