#include "client.h"
void memory_tell_all(struct process *process) { (void)process; }
void memory_descriptor_moved(int from, int to) { (void)from; (void)to; }
