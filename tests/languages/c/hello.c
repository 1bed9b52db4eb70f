/* Greets who is named first, reads the file that is named second, and ends with the code that is third. */
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    char text[64] = "";
    if (argc != 4) return 2;
    FILE *file = fopen(argv[2], "r");
    if (file == NULL || fgets(text, sizeof text, file) == NULL) return 3;
    printf("hello from C, %s: %s\n", argv[1], text);
    return atoi(argv[3]);
}
