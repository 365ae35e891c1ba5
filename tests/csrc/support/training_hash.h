/* One line a training: its name and a hash of all bits it ended with, to compare
 * machines. */
#ifndef TRAINING_HASH_H
#define TRAINING_HASH_H
void print_training_hashes(void);
#endif
